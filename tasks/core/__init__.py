"""What the tasks share: streams, words, permutations, sizes, kernels, batches, and doors to the outside."""
