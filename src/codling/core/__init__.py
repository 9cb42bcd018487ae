"""What every stage stands on: errors, recipes, artefacts, shards, languages, progress. No torch."""
