// Plays a machine on which the converter cannot run at all.
throw new Error("no such library")
