"""Get: crawl a site of MedPix's shape, politely and resumably, into the raw tables of corpus_db."""
