"""The HTCondor adapter. Calls over the network run in a worker process of their own."""
