"""The experiments on CIFAR-10."""
