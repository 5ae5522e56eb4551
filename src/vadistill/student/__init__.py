"""The frame-level network: layout, losses, distillation, scoring."""
