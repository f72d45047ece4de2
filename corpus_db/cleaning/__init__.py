"""The rules of caption cleaning, a family a module; corpus_db.clean puts them in order."""
