"""The vision-language Transformer. Reads a corpus version; knows nothing of crawling or SQL."""
