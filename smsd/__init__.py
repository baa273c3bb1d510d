"""smsd: a daemon that brings text messages from Redis streams to SMS providers. Holds no code itself."""
