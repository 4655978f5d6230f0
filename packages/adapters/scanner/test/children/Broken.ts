// Plays a machine on which nothing can be inspected at all.
throw new Error("no such module")
