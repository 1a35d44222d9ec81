//! Responses on the machine: plan purely, then act. Kill a process tree, isolate the host, undo.
