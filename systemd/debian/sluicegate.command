#!/usr/lib/sluicegate/bin/python3 -IB
"""The gateway's command, in the environment of its own that the package brings."""

from agent.main import main

main()
