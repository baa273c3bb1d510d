"""What people ask of a running smsd, by command or by HTTP alike: the same verbs for both. Starts no process, decides
nothing that the scripts decide."""
