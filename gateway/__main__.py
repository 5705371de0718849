"""`python -m gateway CONFIG` is `tidegate gateway CONFIG`."""

from gateway.cli import gateway

if __name__ == "__main__":
    gateway(prog_name="python -m gateway")
