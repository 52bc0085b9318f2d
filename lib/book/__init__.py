"""The runner: executes the chapters, publishes the book, reruns a chapter."""
