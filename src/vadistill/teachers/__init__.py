"""Object-centric teachers: networks, losses and scores of objects; arrays and tensors only."""
