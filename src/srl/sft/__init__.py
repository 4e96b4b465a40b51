"""Supervised fine-tuning as a stage: next-token prediction on the expert's text, by TRL's SFTTrainer (Table 6)."""
