"""How good answers are: question sets, marking, measures and reports. Pure rules; `services.evaluation` asks the questions."""
