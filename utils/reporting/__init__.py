"""How results are shown: all of it is made from the data frames in results/*.csv. Nothing is measured here."""
