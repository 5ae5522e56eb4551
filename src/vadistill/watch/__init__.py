"""Live cameras: sources, analysis, alarms, storage, sinks and the web page behind ``vadistill watch``."""
