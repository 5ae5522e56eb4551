"""What is read and written: files, stores, videos and images."""
