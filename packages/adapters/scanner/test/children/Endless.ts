// Plays an inspection that a hostile file keeps busy for ever.
for (;;) Math.sqrt(2)
