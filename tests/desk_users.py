"""A user for a desk that runs as a program: made in its database by the desk's own secret, with a hash that costs little."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import argon2

from crypto.desk_secret import load_desk_secret
from server.config import StoreSettings
from server.desk_password import PasswordHashes
from server.roles import Role
from server.store import open_store
from server.users import NewSecrets, Users

# A hash takes a tenth of a second with the real costs.
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


def make_user(pki: Path, data: Path, *roles: Role, name: str = "Anna Berg", with_totp: bool = False) -> NewSecrets:
    """Blocks; in a thread of its own, so that a test with a running loop may call it. All roles unless told."""
    secret = load_desk_secret(pki / "desk.secret")

    async def make() -> NewSecrets:
        async with open_store(StoreSettings(data_dir=data).resolved_database_url) as store:
            users = Users(store, secret, PasswordHashes(secret, QUICK))
            return await users.add(name, [role.value for role in roles or Role], with_totp=with_totp, temporary=False)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, make()).result()
