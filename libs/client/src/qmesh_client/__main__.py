"""`python -m qmesh_client` is the `qmesh` command."""

from qmesh_client.cli import main

if __name__ == "__main__":
    main()
