"""`python -m gas_diorama.train`."""

from gas_diorama.train.train import main

main()
