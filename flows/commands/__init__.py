"""The groups of `unilogit …`, one module each. Nothing heavy is imported until a command needs it."""
