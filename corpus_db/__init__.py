"""Keep what was crawled or imported: raw records, images, curated pairs and their versions, behind SQL."""
