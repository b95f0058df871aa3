"""How the study and ``benchmarks/cpu`` measure: competitors in processes of their own, each checked
against the reference before it is timed, in alternating rounds."""
