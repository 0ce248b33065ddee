"""How each method trains; a method is one folder here, and one line in `mrdist.methods.registry.METHODS`.

All else derives from that line: `mrdist.train` and the verbs that train, their checks before anything is written, the
command line and its help, requests to the service and the form of its page, what a comparison and a report show, and
the tests that ask the same of every method.

How a method is added
---------------------
`reduced_rank` is a small example to read beside this; `masked`, `whole` and `sparse` are three families.

1. **The declaration**, in the ``__init__.py`` of the new folder: a `mrdist.methods.method.Method`, with the module and
   the name of its work, its options with their defaults, what people read of it, and what else `Method` asks: whether
   outputs may see all colour channels, whether they depend on the input, whether mappings share sums, and the estimator
   that fits the same to images in memory. The module is imported when somebody trains, so whatever takes long to import
   belongs there. A default is None where it follows from the images. Add ``SEARCH`` to the options of a method whose
   penalty cross-validation can choose.

2. **The work**, a `mrdist.methods.training.TrainingWork`, is made of a lesson (images, labels, rows, colour), of how to
   run, and of all options by keyword. It checks in ``__init__`` what depends on the images, touches nothing, and has

   - ``plan(block)``: how the image is cut into blocks, with the memory of each, or the error that none fits;
   - ``begin(cut)``: begins the weights store or resumes it; None if it is complete;
   - ``phases(output, cut)``: yields the phases that are left, see below;
   - ``prepare``: a function of a module that compiles and loads what the tasks need, if anything;
   - ``finish(output)``: completes the store, which `TrainingWork` does for all.

   `mrdist.running.phases.drive` does the rest: workers, progress, what a killed run has left, times, the report. A work
   may derive from that of a family. ``WholeWork`` asks its methods what is summed and how a regression is solved.

3. **The phases.** A `mrdist.running.phases.Phase` has a name, tasks, and a function that does a task from reading to
   writing and returns the peak of memory. Workers import the function, so it stands at the top of a module, or is a
   `functools.partial` of one that does. It opens its stores by their addresses. It may run twice: the same task writes
   the same bytes, marks itself done last, and writes whole chunks of its own. Nothing that it writes may depend on how
   many workers or blocks there are: sum integers, call BLAS with one thread and with shapes that depend on the image
   alone. What follows a ``yield`` concludes the phase in the driver; it too must be able to run again. Phases hand on
   results in the store's room for progress, which is removed at the end.

4. **The layout and its reader.** The description of a training, a `mrdist.storage.weights.output.Training`, holds
   everything that decides the bytes, and names the layout of the arrays: ``masked`` (weights of a receptive field),
   ``global`` (codes of the whole image and their weights), ``sparse`` (a CSR matrix) or ``morph`` (masked weights, and
   how faces move). A method that keeps to one of these needs nothing more: whatever opens weights finds the reader by
   the layout, not by the method. A new layout is a
   description that says which arrays there are, each a `mrdist.storage.access.arrays.ArraySpec`, a
   `mrdist.storage.weights.output.WeightsOutput` that writes them, a `mrdist.storage.weights.reader.WeightsReader`, and
   a line in the table of readers of that module.

5. **The options.** An option that another method has is there already. A new one is an entry in
   `mrdist.methods.option_table`, with its domain and its help; with a line in
   `mrdist.methods.arguments.MethodOptions`, editors and type checkers know it too.

6. **The line** in `mrdist.methods.registry.METHODS`.

7. **Tests.** Those that take their methods from the registry come by themselves: refused options, equal bytes for
   blocks and workers, kills and resumption, face frames, photographs, depths of images. The contract in
   ``tests/test_every_method.py`` wants one line: the steps at which to kill a method of this folder. What is left to
   write is what only this method promises: its equations, from an independent computation over all pixels of small
   images, and its errors.

In pictures, a method without a line in `mrdist.plotting.style` gets one of a few spare colours.

Examples
--------
>>> from mrdist.methods.registry import METHODS
>>> METHODS["rrr"].home
('mrdist.methods.reduced_rank.phases', 'ReducedRankWork')
>>> [name for name, method in METHODS.items() if "components" in method.options]
['pca', 'rrr']
"""
