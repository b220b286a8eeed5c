"""Real servers, started for a test in a directory of their own, and ended with it.

`postgres` is a context manager that yields a running server. A server is looked for on PATH first and in installed
wheels second; where there is none, `NoServer` says what to install.
"""

from ._postgres import Postgres as Postgres
from ._postgres import postgres as postgres
from ._process import ServerProcess as ServerProcess
