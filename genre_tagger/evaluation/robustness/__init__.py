"""What recordings of everyday life do to a model's figures: perturbed clips, their scores, table and plot."""
