"""`python -m server.cli` is `wan-local`, for a checkout that is not installed."""

from server.cli import app

if __name__ == "__main__":
    app()
