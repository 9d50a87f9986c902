"""`python -m gas_diorama.train`."""

from gas_diorama.train.train import main

if __name__ == "__main__":
    main()
