"""From built prompts to tokens: whatever runs them, prompts are built the same way."""
