"""A plant network: PLCs, who talks to them, who attacks them, and what was true."""
