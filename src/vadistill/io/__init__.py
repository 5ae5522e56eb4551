"""What is read and written: files, stores, videos and images; nothing else knows file formats of ours."""
