"""Recording what a process does to the files of a directory, call by call, and putting faults into single calls.

Linux on x86-64 and aarch64, with ptrace and seccomp, for any user; `refusal()` says why it cannot be done elsewhere.
Only names are imported here: a worker comes by, on its way to `_submit`, and must start fast.
"""
