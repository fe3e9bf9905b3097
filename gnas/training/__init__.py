"""Training core: what every optimisation loop of the package shares.

* `gnas.training.step`: one optimisation step, and the plain loop around it;
* `gnas.training.schedules`: learning rates over a training;
* `gnas.training.batching`: order and pieces of batches;
* `gnas.training.state`: everything that a training needs to go on from where it is;
* `gnas.training.checkpoints`, `gnas.training.recording`: the files of that;
* `gnas.training.distributed`, `gnas.training.devices`: where it runs;
* `gnas.training.short`, `gnas.training.recipe`: the short training that judges a candidate.
"""
