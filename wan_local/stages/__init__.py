"""The stations of a plan, each a plain function; none imports another."""
