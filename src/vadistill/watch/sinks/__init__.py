"""Where alarms are sent: one module a kind of sink."""
