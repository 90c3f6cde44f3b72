-- A live board's rows are updated where they stand, up to five times a second: room on their pages keeps these updates
-- off the index, and lets Postgres clear away at the next update what the last one left.

ALTER TABLE agon.leaderboard_live SET (fillfactor = 40, autovacuum_vacuum_scale_factor = 0.5);
ALTER TABLE agon.leaderboards SET (fillfactor = 40);
ALTER TABLE agon.pair_cells SET (fillfactor = 70);
