"""Who runs a batch's tasks: processes of this machine, or Ray's actors. One interface, one contract test."""
