package main

import "flag"

var update = flag.Bool("update", false, "write what commands print into the scripts")
