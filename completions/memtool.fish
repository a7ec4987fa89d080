# Completion of memtool's command line in fish: memtool itself says what can stand at the cursor.

complete --command memtool --no-files --keep-order --arguments '(memtool __complete -- (commandline --current-process --tokenize --cut-at-cursor) (commandline --current-token --cut-at-cursor) 2>/dev/null)'
