$
"
 UjCoΣ	BοηBQά›j1’W‚WE}Εός0