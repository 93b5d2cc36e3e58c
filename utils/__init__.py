"""Around the method. Imports point so: studies → main_lena → restore, reporting → sources → evaluation → running."""
