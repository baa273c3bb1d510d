"""What the README claims about speed, fairness and limits, each reproducible by one command. `make test` runs none."""
