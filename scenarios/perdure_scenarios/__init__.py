"""The scenario files of the specification, one folder a chapter. The kit finds them through `perdure.scenarios`."""
