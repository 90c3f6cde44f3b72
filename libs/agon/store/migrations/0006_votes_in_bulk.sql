-- Votes by the million: a foreign key is looked up for every row, which was half of what Postgres spent on a vote.
-- Both rows of a vote are written by the one transaction that holds the lock of its arena's row, so that neither key
-- can be wrong unless that code is; tests look.

ALTER TABLE agon.votes DROP CONSTRAINT votes_tenant_arena_leaf_fkey;
ALTER TABLE agon.ledger_leaves DROP CONSTRAINT ledger_leaves_tenant_arena_fkey;
