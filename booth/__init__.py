"""The thing on the machine: one applicant's visit, the outbox, the kiosk and technician pages, the command line."""
