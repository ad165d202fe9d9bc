"""The commands of producers: `parallax submit | cancel | loadgen | replay`."""
