"""Parsing of files that nobody vouches for, in a process that can do nothing but parse.

`pool` is the worker's side. It keeps a few `nursery` processes, which have every parser loaded and read no document.
For each document a nursery forks a child, which enters the `sandbox`, parses, writes its result to a pipe and ends.
So no document meets what another left behind, and memory cannot grow from one to the next.

What holds where:
- Linux on x86-64 and aarch64: seccomp lets the child use the memory, the clock and the files it holds: the document,
  open for reading, and the pipe. It opens no file and no socket, starts nothing, signals nobody.
- On other machines, or where the kernel refuses seccomp, an audit hook refuses the same to Python code; the native
  code of a parser is then held by limits alone.
- Everywhere: limits on memory, CPU, open files and the size of written files (0), no core dumps, an environment
  without any secret, and the worker's wall clock.
"""
