"""The student's network and its discriminators: tensors in, tensors out."""
