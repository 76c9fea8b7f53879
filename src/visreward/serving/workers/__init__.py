"""The server's child processes, and how it talks to them."""
